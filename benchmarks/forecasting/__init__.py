"""What the comparison of forecasts is made of: series with a known end, and the methods beside ours."""
