"""The devices that run partitions; each is loaded when it is first needed."""
