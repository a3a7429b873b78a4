"""What the tests of several parts share: invented tasks, runs and evidence, and a paper of fake steps."""
