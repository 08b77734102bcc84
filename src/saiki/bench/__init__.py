"""Benchmarks: ours and the peers' do the same work in turn, in one run."""
