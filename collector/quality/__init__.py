"""Whether the answers stay good: scores on a sample, and drift alarms that can be believed."""
