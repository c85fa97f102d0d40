"""Requests that arrive at several engines: traces, servers, the game of routing them, bounds and pictures."""
