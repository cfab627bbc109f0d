package integration

func sequential(args []string) error { return nil }
func atRandom(args []string) error { return nil }
func crowd(args []string) error { return nil }
func latency(args []string) error { return nil }
