"""Sleep-time compute: the model, the game of one context, its bound and its picture."""
