"""The parts of `bench/arrival.py`: the scripts that one would run instead, the writer, the consumer, the measures."""
