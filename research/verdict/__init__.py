"""The tuned benchmark of methods: protocol, trainings, and the queue that runs them."""
