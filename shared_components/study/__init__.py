"""The study: from a factory that all clients train to a model, scores and a report for each of them."""
