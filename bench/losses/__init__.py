"""What `bench.loss` is made of: watchers as child processes, what they are heard to say, and the situations."""
