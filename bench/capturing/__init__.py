"""The parts of `bench/capture.py`: watchers that keep the path of every complete file and do nothing else."""
