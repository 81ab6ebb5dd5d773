"""Games: who evaluates a mask. `base` is the contract, `table` the games there are, one file each."""
