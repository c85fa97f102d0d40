"""A cascade of models over recorded answers: run one, look at its answer's length, stop or go on."""
