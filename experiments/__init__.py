"""Who competes: suites, the runner, the store, statistics, leaderboard, verification, reports, command line."""
