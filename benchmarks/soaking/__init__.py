"""What the soak adds to the harness: clients that leave, and samples of the relay workers."""
