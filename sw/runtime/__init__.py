"""When things are computed: sessions, plans, executors and devices."""
