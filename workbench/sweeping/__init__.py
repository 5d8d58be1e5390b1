"""Sweeps over many records on several processes or machines: cut into shards, shared out, collected."""
