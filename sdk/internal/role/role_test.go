package role

import "testing"

func TestRegisteredOnce(t *testing.T) {
	panics := func(what string, f func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s passed", what)
			}
		}()
		f()
	}
	defer func() { registered.kind, registered.plugin = "", nil }()
	if Kind() != "" {
		t.Fatalf("registered as %q before Set", Kind())
	}
	panics("asking for a plugin before registration", func() { Plugin("mapper") })
	Set("mapper", 7)
	if Kind() != "mapper" || Plugin("mapper") != 7 {
		t.Errorf("registered %v as %q", Plugin("mapper"), Kind())
	}
	panics("asking for another kind", func() { Plugin("forwarder") })
	panics("a second registration", func() { Set("forwarder", 8) })
}
