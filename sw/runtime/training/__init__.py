"""Training that looks after itself: sessions with hooks, which resume after a kill."""
