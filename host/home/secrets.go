package home

import (
	"maps"
	"slices"
	"strings"

	"carl.camp/carl/host/fault"
)

const (
	// maxSecrets and maxSecret bound secrets.json: a secret travels in one HTTP
	// header, where common servers take 8 KiB, and nobody names 256 of them.
	maxSecrets     = 256
	maxSecret      = 8 << 10
	maxSecretName  = 64
	maxSecretsFile = 4 << 20

	secretPrefix = "CARL_SECRET_"
	// campToken is the name under which plugins are granted the platform's
	// token, which is kept with the credentials and not here.
	campToken = "camp-token"
)

// Secrets are the values that plugins may be granted by name.
type Secrets struct{ h *Home }

// Secrets returns the home's secrets.
func (h *Home) Secrets() Secrets { return Secrets{h} }

// SecretInfo is what may be shown of a secret.
type SecretInfo struct {
	Name string
	// Source is where its value would be taken from: a variable of the
	// environment, or the path of secrets.json.
	Source string
}

type secretsFile struct {
	V       int               `json:"v"`
	Secrets map[string]string `json:"secrets"`
}

func (s Secrets) file() jsonFile {
	return jsonFile{
		path: s.h.Paths.Secrets,
		max:  maxSecretsFile,
		lost: "no stored secret is used",
		mend: "restore " + s.h.Paths.Secrets + ", or move it away and set each secret again with `carl secret set NAME`",
	}
}

// CheckSecretName refuses a name that is not [a-z0-9-], at most 64 bytes, with
// a letter or digit first. The error is carl.secret.invalid.
func CheckSecretName(name string) error {
	ok := name != "" && len(name) <= maxSecretName && name[0] != '-'
	for i := range len(name) {
		ok = ok && (isLowerAlnum(name[i]) || name[i] == '-')
	}
	if !ok {
		return fault.New(fault.SecretInvalid, "%.80q cannot be the name of a secret: names are 1 to %d of a-z, 0-9 and -, the first not a -", name, maxSecretName)
	}
	return nil
}

// SecretVariable returns the environment variable that comes before the stored
// value of the secret name: CARL_SECRET_, then the name in capitals with _ for -.
func SecretVariable(name string) string {
	return secretPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// Get returns the value of a secret, the environment's before the stored one.
// The error is carl.secret.not_found where there is neither.
func (s Secrets) Get(name string, environ []string) (string, error) {
	if err := CheckSecretName(name); err != nil {
		return "", err
	}
	if v := lookup(environ, SecretVariable(name)); v != "" {
		if err := checkSecret(SecretVariable(name), v); err != nil {
			return "", err
		}
		return v, nil
	}
	f, err := s.read()
	if err != nil {
		return "", err
	}
	v, ok := f.Secrets[name]
	if !ok {
		return "", fault.New(fault.SecretNotFound, "no secret %q is stored, and %s is not set", name, SecretVariable(name)).
			WithHint("run `carl secret set %s`", name)
	}
	return v, nil
}

// Set stores a secret. A line end behind the value is dropped; the rest must be
// one line of visible ASCII, at most 8 KiB, without spaces around it.
func (s Secrets) Set(name, value string) error {
	if err := CheckSecretName(name); err != nil {
		return err
	}
	if name == campToken {
		return fault.New(fault.SecretInvalid, "%q is the platform's own token, and is not kept with the secrets", name).
			WithKept("nothing was stored").WithHint("run `carl camp login`")
	}
	value = strings.TrimSuffix(strings.TrimSuffix(value, "\n"), "\r")
	if err := checkSecret(name, value); err != nil {
		return err
	}
	return s.h.guarded(func() error {
		f, err := s.read()
		if err != nil {
			return err
		}
		if f.Secrets == nil {
			f.Secrets = make(map[string]string)
		}
		f.Secrets[name] = value
		if len(f.Secrets) > maxSecrets {
			return fault.New(fault.SecretInvalid, "there are %d secrets, and no more are kept", maxSecrets).
				WithKept("nothing was stored").WithHint("remove one with `carl secret remove NAME`")
		}
		f.V = version
		return s.file().write(f)
	})
}

// Remove drops a stored secret. The error is carl.secret.not_found where there is none.
func (s Secrets) Remove(name string) error {
	if err := CheckSecretName(name); err != nil {
		return err
	}
	if f, err := s.read(); err != nil || f.Secrets[name] == "" {
		if err == nil {
			err = notStored(name)
		}
		return err
	}
	return s.h.guarded(func() error {
		f, err := s.read()
		if err != nil {
			return err
		}
		if _, ok := f.Secrets[name]; !ok {
			return notStored(name)
		}
		delete(f.Secrets, name)
		return s.file().write(f)
	})
}

// List returns the secrets that are stored, sorted by name, without their values.
func (s Secrets) List(environ []string) ([]SecretInfo, error) {
	f, err := s.read()
	if err != nil {
		return nil, err
	}
	list := make([]SecretInfo, 0, len(f.Secrets))
	for _, name := range slices.Sorted(maps.Keys(f.Secrets)) {
		source := s.file().path
		if lookup(environ, SecretVariable(name)) != "" {
			source = SecretVariable(name)
		}
		list = append(list, SecretInfo{Name: name, Source: source})
	}
	return list, nil
}

// Values returns every stored value, for the redactor. The order means nothing.
func (s Secrets) Values() ([]string, error) {
	f, err := s.read()
	if err != nil {
		return nil, err
	}
	return slices.Collect(maps.Values(f.Secrets)), nil
}

func (s Secrets) read() (*secretsFile, error) {
	f := new(secretsFile)
	if _, err := s.file().read(f); err != nil {
		return nil, err
	}
	for name, value := range f.Secrets {
		if CheckSecretName(name) != nil || checkSecret(name, value) != nil {
			return nil, s.file().corrupt("it holds a name or a value that is not legal")
		}
	}
	return f, nil
}

func notStored(name string) error {
	return fault.New(fault.SecretNotFound, "no secret %q is stored", name).WithKept("nothing was removed")
}

func checkSecret(name, value string) error {
	why := ""
	switch {
	case value == "":
		why = "is empty"
	case len(value) > maxSecret:
		why = "is longer than 8 KiB"
	case !visible(value, ' '):
		why = "is not one line of visible ASCII"
	case strings.TrimSpace(value) != value:
		why = "has spaces around it"
	}
	if why != "" {
		return fault.New(fault.SecretInvalid, "the value of %s %s", name, why).WithKept("nothing was stored")
	}
	return nil
}

func isLowerAlnum(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }
