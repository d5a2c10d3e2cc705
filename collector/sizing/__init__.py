"""Which size of model a route needs: evidence from pairs, dollars from prices and GPUs, and a decision."""
