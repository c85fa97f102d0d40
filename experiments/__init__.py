"""Who competes: suites, the runner, the store, statistics, the leaderboard, verification, reports and the command line."""
