"""A row of servers with more of them than its power supply feeds at once, after POLCA: plant, game, bound, picture."""
