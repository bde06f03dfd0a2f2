package role

import "testing"

func TestRegisteredOnce(t *testing.T) {
	defer func() { registered = "" }()
	if Get() != "" {
		t.Fatalf("registered as %q before Set", Get())
	}
	Set("mapper")
	if Get() != "mapper" {
		t.Errorf("registered as %q", Get())
	}
	defer func() {
		if recover() == nil {
			t.Error("a second registration passed")
		}
	}()
	Set("forwarder")
}
