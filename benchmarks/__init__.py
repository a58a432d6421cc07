"""Speed and memory, as ratios measured in one run, with the machine named. `make bench` runs all.

__main__       the command: which benchmarks, how large, printed and written as a page
result         rows and reports, as a terminal's tables and as Markdown
effort         how large: the full sizes, and small ones to try a benchmark out
machine        what this runs on
problem        the picture, the style and the recipe that every method is given
clock          seconds without the measuring itself
peers          plain methods from the literature, for the same objective
fake_s3        a bucket of a million objects that are made up when they are asked for
NAME           one benchmark each
"""
