"""Memory mapping: programs as accesses to buffers, memory platforms, the timeline model, heuristics and bounds."""
