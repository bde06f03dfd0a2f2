package home

import (
	"crypto/rand"
	"encoding/hex"
	"time"

	"carl.camp/carl/host/fault"
)

// installIDBytes gives the id 128 random bits, as a UUID has.
const installIDBytes = 16

type installFile struct {
	V         int       `json:"v"`
	InstallID string    `json:"install_id"`
	CreatedAt time.Time `json:"created_at,omitzero"`
}

func (h *Home) installFile() jsonFile {
	return jsonFile{
		path: h.Paths.Install,
		max:  maxSmallFile,
		lost: "this installation has no id",
		mend: "run `carl entitlements install-id`, which moves the damaged file aside and makes a new id",
	}
}

// InstallID returns the id of this installation, 32 lowercase hex digits. The
// first call makes it, and of several processes that call at once all get the
// same. A damaged file is moved aside and a new id made: the id names the
// source of events, and what is on its way keeps the source that it has.
func (h *Home) InstallID() (string, error) {
	if id, found, err := h.readInstallID(); err == nil && found {
		return id, nil
	}
	var id string
	err := h.guarded(func() error {
		var found bool
		var err error
		id, found, err = h.readInstallID()
		if fault.CodeOf(err) == fault.HomeCorrupt {
			err = h.installFile().aside()
		}
		if err != nil || found && id != "" {
			return err
		}
		raw := make([]byte, installIDBytes)
		rand.Read(raw) // never fails: see crypto/rand
		id = hex.EncodeToString(raw)
		return h.installFile().write(&installFile{V: version, InstallID: id, CreatedAt: now()})
	})
	if err != nil {
		return "", err
	}
	return id, nil
}

// KnownInstallID returns the id of this installation, or "" where it has none
// yet or its file is damaged.
func (h *Home) KnownInstallID() string {
	id, _, _ := h.readInstallID()
	return id
}

// readInstallID returns an id only together with found and without an error.
func (h *Home) readInstallID() (id string, found bool, err error) {
	var f installFile
	found, err = h.installFile().read(&f)
	if err != nil || !found {
		return "", found, err
	}
	raw, bad := hex.DecodeString(f.InstallID)
	if bad != nil || len(raw) != installIDBytes || hex.EncodeToString(raw) != f.InstallID {
		return "", true, h.installFile().corrupt("the id is not 32 lowercase hex digits")
	}
	return f.InstallID, true, nil
}
