"""placeholder"""
from .theory import attained_ranks, required_rank
