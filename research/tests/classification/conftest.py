"""These tests need MMPretrain, which has an environment of its own (`make classification`); elsewhere they skip."""
