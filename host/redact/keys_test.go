package redact

import (
	"strings"
	"testing"
)

func TestNamesOfSecrets(t *testing.T) {
	for _, name := range []string{
		"key", "keys", "Key", "KEY", "token", "secret", "secrets", "password", "passwords", "authorization", "bearer", "bearers",
		"credential", "credentials", "cookie", "cookies", "private", "passwd", "pwd", "passphrase", "jwt",
		"api_key", "apiKey", "ApiKey", "APIKey", "API_KEY", "api-key", "api.key", "api key", "apikey", "apikeys", "APIKEYs", "X-Api-Key", "x_api_key_2", "key1",
		"accessToken", "access_token", "HFToken", "hfToken", "HF_TOKEN", "id_token", "csrf-token", "tokenValue",
		"clientSecret", "client_secret", "aws_secret_access_key", "AWSSecretAccessKey", "DB_PASSWORD", "dbPassword", "userPasswd", "sshPwd", "passWord", "pass_phrase",
		"Proxy-Authorization", "Set-Cookie", "private_key", "privateKeyPem", "private_key_id", "service.account.key", "bearerToken",
		"router_api_key", "sglang_admin_api_key", "router_control_plane_api_keys", "wandb_key", "WANDB_API_KEY", "input_key_password", "public_key_token",
		"[redacted:hf-token]_password",
	} {
		if judge([]byte(name)) != secret {
			t.Errorf("%q does not count as the name of a secret", name)
		}
	}
}

func TestHarmlessNames(t *testing.T) {
	for _, name := range []string{
		"", "name", "text", "keyboard", "monkey", "turkey", "keyword", "keyed", "hotkeys", "tokenizer", "tokenize", "tokenization", "tokenizer_path",
		"secretary", "secretariat", "cookiecutter", "author", "authors", "authority", "passwordless", "privateer", "credentialed", "bear", "pass", "passed", "passive",
		"[redacted:private-key]", "[redacted:key]", "ключ", "input", "output", "session_id", "trace_id", "use_tokenizer_model",
	} {
		if got := judge([]byte(name)); got != harmless {
			t.Errorf("%q counts as the name of a secret (%d)", name, got)
		}
	}
}

func TestCountingNames(t *testing.T) {
	for _, name := range []string{
		"total_tokens", "max_tokens", "maxTokens", "max_token", "prompt_tokens", "completion_tokens", "tokens", "tokens_sent", "tokens_received",
		"num_tokens", "n_tokens", "refresh_tokens", "cached_tokens", "reasoningTokens", "max_tokens_per_gpu", "tokens_to_oom", "min_new_tokens",
	} {
		if got := judge([]byte(name)); got != counting && got != harmless {
			t.Errorf("a number under %q does not count as a count (%d)", name, got)
		}
		number, text := `{"`+name+`":4096}`, `{"`+name+`":"abc"}`
		r := testRedactor()
		if got := string(r.JSON([]byte(number))); got != number {
			t.Errorf("%s became %s", number, got)
		}
		if judge([]byte(name)) == counting {
			if got := string(r.JSON([]byte(text))); got == text {
				t.Errorf("%s stays", text)
			}
		}
	}
	for _, name := range []string{"api_keys", "token", "password", "max_tokens_password", "secret_tokens"} {
		number := `{"` + name + `":4096}`
		if got := string(testRedactor().JSON([]byte(number))); got == number {
			t.Errorf("%s stays", number)
		}
	}
}

// Every exception is needed, works in every way a name is written, and excuses
// nothing but itself.
func TestExceptions(t *testing.T) {
	r := testRedactor()
	seen := map[string]bool{}
	for _, e := range exceptions {
		t.Run(e, func(t *testing.T) {
			if seen[e] {
				t.Fatal("stands twice")
			}
			seen[e] = true
			words := strings.Split(e, " ")
			needed := false
			camel := ""
			for i, w := range words {
				needed = needed || contains(secretWords, []byte(w))
				if i > 0 {
					w = strings.ToUpper(w[:1]) + w[1:]
				}
				camel += w
			}
			if !needed {
				t.Error("excuses nothing")
			}
			snake := strings.Join(words, "_")
			for _, name := range []string{snake, strings.TrimSuffix(snake, "s") + "s", "eval_" + snake, strings.ToUpper(snake), strings.Join(words, "-"), "--" + strings.Join(words, "-"), camel, "my" + strings.ToUpper(camel[:1]) + camel[1:]} {
				if got := judge([]byte(name)); got != harmless {
					t.Errorf("%q counts as the name of a secret", name)
				}
				text := []byte(`{"` + name + `":"value"}`)
				if got := r.JSON(text); &got[0] != &text[0] {
					t.Errorf("%s became %s", text, got)
				}
			}
			for _, name := range []string{snake + "_password", "secret_" + snake, "api_key_of_" + snake} {
				if judge([]byte(name)) != secret {
					t.Errorf("%q does not count as the name of a secret", name)
				}
			}
			// What stands under an excused name is still searched.
			token := fake("npm"+"_", 36)
			gone(t, e, string(r.JSON([]byte(`{"`+snake+`":"`+token+`"}`))), token)
		})
	}
	if len(seen) == 0 {
		t.Error("there are no exceptions")
	}
}

func TestNamesOfAnyLength(t *testing.T) {
	if judge([]byte(strings.Repeat("a", 10000)+"_password")) != secret {
		t.Error("a long name hides a word")
	}
	if judge([]byte(strings.Repeat("a_", 10000))) != secret {
		t.Error("a name of very many words counts as harmless")
	}
}
