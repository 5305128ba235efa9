"""What `bench/run` is made of: the two servers, the world around them, their footprint, the report. Standard library only."""
