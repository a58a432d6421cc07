"""Speed and memory, as ratios measured in one run, with the machine printed. `make bench` runs all."""
