"""Comparisons with what one would run instead: side by side, in one run, as ratios of medians.

`python -m bench` runs all of them, `python -m bench loss` one. Each starts what it needs: a private broker
(or the one named by FSHERALD_BENCH_AMQP_URL), the service, the competitors, and ends them.
"""
