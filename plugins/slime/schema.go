package main

func configSchema() string { return "{}" }
func argsSchema() string   { return "{}" }
