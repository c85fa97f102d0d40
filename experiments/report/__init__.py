"""The report: a leaderboard as text, as terminal tables, and as one HTML page."""
