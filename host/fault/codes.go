package fault

import "slices"

// Code names a class of failure. The names are stable: programs branch on them.
type Code string

// Exit is the exit status that goes with a code.
type Exit int

// The exit statuses of the command.
const (
	ExitOK          Exit = 0
	ExitFailed      Exit = 1   // failed; network and 5xx included
	ExitUsage       Exit = 2   // wrong usage or invalid input; nothing was touched
	ExitTrust       Exit = 3   // verification or trust failed
	ExitDenied      Exit = 4   // not allowed: gate, constitution, 401, 402, 403
	ExitLocked      Exit = 5   // --locked, and the lock would change
	ExitNotFound    Exit = 6   // no such thing
	ExitInterrupted Exit = 130 // SIGINT
)

// Every code, by the part that returns it. Meaning and remedy stand in the table below.
const (
	Internal      Code = "carl.internal"
	Interrupted   Code = "carl.interrupted"
	Usage         Code = "carl.usage"
	IO            Code = "carl.io"
	InputNotFound Code = "carl.input.not_found"

	HomeUnusable  Code = "carl.home.unusable"
	HomeTooNew    Code = "carl.home.too_new"
	HomeCorrupt   Code = "carl.home.corrupt"
	ConfigInvalid Code = "carl.config.invalid"

	StepInvalid    Code = "carl.step.invalid"
	RecordRejected Code = "carl.record.rejected"

	SpoolFailed Code = "carl.spool.failed"

	SyncPending            Code = "carl.sync.pending"
	SyncUnknownDestination Code = "carl.sync.unknown_destination"
	SyncMapperFailed       Code = "carl.sync.mapper_failed"
	SyncEventRefused       Code = "carl.sync.event_refused"
	SyncConflict           Code = "carl.sync.conflict"
	SyncRejected           Code = "carl.sync.rejected"
	SyncUnavailable        Code = "carl.sync.unavailable"
	SyncUnauthorized       Code = "carl.sync.unauthorized"
	SyncMisconfigured      Code = "carl.sync.misconfigured"
	SyncBusy               Code = "carl.sync.busy"
	DeadLetterNotFound     Code = "carl.dlq.not_found"

	CampUnreachable  Code = "carl.camp.unreachable"
	CampUnauthorized Code = "carl.camp.unauthorized"
	CampRefused      Code = "carl.camp.refused"
	CampMalformed    Code = "carl.camp.malformed_answer"
	CampInvalid      Code = "carl.camp.invalid_request"
	CampTokenInvalid Code = "carl.camp.token_invalid"

	EntitlementsNetworkUnavailable Code = "carl.entitlements.network_unavailable"
	EntitlementsSignatureInvalid   Code = "carl.entitlements.signature_invalid"
	EntitlementsJWKSStale          Code = "carl.entitlements.jwks_stale"
	EntitlementsCacheCorrupt       Code = "carl.entitlements.cache_corrupt"
	EntitlementsRefused            Code = "carl.entitlements.refused"
	EntitlementsLicenseRefused     Code = "carl.entitlements.license_refused"
	EntitlementsNoKey              Code = "carl.entitlements.no_key"

	GateTierDenied         Code = "carl.gate.tier_denied"
	GateTierRemoteMismatch Code = "carl.gate.tier_remote_mismatch"
	GateUnknownFeature     Code = "carl.gate.unknown_feature"

	ConstitutionInvalid    Code = "carl.constitutional.invalid"
	ActionInvalid          Code = "carl.constitutional.action_invalid"
	ConstitutionNotAdopted Code = "carl.constitutional.not_adopted"
	ConstitutionDenied     Code = "carl.constitutional.denied"
	ConstitutionEscalated  Code = "carl.constitutional.escalated"
	ForwardFailed          Code = "carl.constitutional.forward_failed"

	LedgerTampered   Code = "carl.ledger.tampered"
	LedgerFailed     Code = "carl.ledger.failed"
	LedgerNotFound   Code = "carl.ledger.not_found"
	LedgerKeyInvalid Code = "carl.ledger.key_invalid"

	TrainConfigInvalid Code = "carl.train.config_invalid"
	TrainNotFound      Code = "carl.train.not_found"
	HFTokenLeak        Code = "carl.slime.hf_token_leak"
	SubmitFailed       Code = "carl.slime.managed_submit_failed"
	PayloadRefused     Code = "carl.slime.payload_refused"
	RunNotFound        Code = "carl.slime.run_not_found"
	RunFailed          Code = "carl.slime.run_failed"
	RunWaitEnded       Code = "carl.slime.wait_ended"
	ResonantFailed     Code = "carl.resonant.publish_failed"

	ConsentUnknown Code = "carl.consent.unknown"

	SecretInvalid  Code = "carl.secret.invalid"
	SecretNotFound Code = "carl.secret.not_found"

	PluginBadModule       Code = "carl.plugin.bad_module"
	PluginBadOutput       Code = "carl.plugin.bad_output"
	PluginTrapped         Code = "carl.plugin.trapped"
	PluginOutOfMemory     Code = "carl.plugin.out_of_memory"
	PluginTimeout         Code = "carl.plugin.timeout"
	PluginFuelExhausted   Code = "carl.plugin.fuel_exhausted"
	PluginFailed          Code = "carl.plugin.failed"
	PluginNotFound        Code = "carl.plugin.not_found"
	PluginManifestInvalid Code = "carl.plugin.manifest_invalid"
	PluginSettingsInvalid Code = "carl.plugin.settings_invalid"
	PluginGrantDenied     Code = "carl.plugin.grant_denied"
	PluginUntrusted       Code = "carl.plugin.untrusted"
	PluginDigestMismatch  Code = "carl.plugin.digest_mismatch"
	PluginLockInvalid     Code = "carl.plugin.lock_invalid"

	DoctorFailed Code = "carl.doctor.failed"
)

// Entry describes one code for `carl help errors`.
type Entry struct {
	Code    Code
	Exit    Exit
	Meaning string
	Remedy  string
}

// Codes returns every code, sorted by name.
func Codes() []Entry {
	out := slices.Clone(codes)
	slices.SortFunc(out, func(a, b Entry) int {
		if a.Code < b.Code {
			return -1
		}
		if a.Code > b.Code {
			return 1
		}
		return 0
	})
	return out
}

// ExitOf returns the exit status for err: that of its code, [ExitOK] for nil.
func ExitOf(err error) Exit {
	if err == nil {
		return ExitOK
	}
	code := CodeOf(err)
	for _, e := range codes {
		if e.Code == code {
			return e.Exit
		}
	}
	return ExitFailed
}

var codes = []Entry{
	{Internal, ExitFailed, "a fault in carl itself", "report it, with the output of `carl doctor --json`"},
	{Interrupted, ExitInterrupted, "the command was interrupted; what it had acknowledged stands", "run the same command again"},
	{Usage, ExitUsage, "wrong arguments or flags", "run the command with --help"},
	{IO, ExitFailed, "a file could not be read or written", "check space, owner and mode, then run the same command again"},
	{InputNotFound, ExitNotFound, "the file to read does not exist", "check the path"},

	{HomeUnusable, ExitFailed, "the carl home cannot be used: wrong owner, wrong mode, a symlink in the way, or not writable", "run `carl doctor`, or choose another home with --home DIR"},
	{HomeTooNew, ExitFailed, "a file in the home was written by a later version of carl", "use that version of carl"},
	{HomeCorrupt, ExitFailed, "a file in the home is damaged; it was left where it is", "run `carl doctor`, which names what mends it"},
	{ConfigInvalid, ExitUsage, "config.yaml is not valid", "mend the line that is named"},

	{StepInvalid, ExitUsage, "a step is not valid", "see the Step format in `carl record --help`"},
	{RecordRejected, ExitFailed, "some lines were not valid steps; all others were recorded", "mend the lines that are named; `carl record FILE --rejects OUT` collects them"},

	{SpoolFailed, ExitFailed, "the spool could not be written or read", "run `carl doctor`"},

	{SyncPending, ExitFailed, "something is still waiting to be delivered", "run `carl sync status`"},
	{SyncUnknownDestination, ExitNotFound, "no destination of that name is configured", "run `carl sync status` for the names"},
	{SyncMapperFailed, ExitFailed, "the mapper failed on a step; it is kept as a dead letter", "run `carl dlq list`, mend the mapper, then `carl dlq replay`"},
	{SyncEventRefused, ExitFailed, "what a mapper returned is not a legal event; its step is kept as a dead letter", "run `carl dlq list`"},
	{SyncConflict, ExitFailed, "the destination holds something else under the same id", "run `carl dlq show`, and compare the two"},
	{SyncRejected, ExitFailed, "the destination refused an event for good; it is kept as a dead letter", "run `carl dlq list`, then `carl dlq replay` or `drop`"},
	{SyncUnavailable, ExitFailed, "the destination did not answer, or asked to wait; carl tries again by itself", "run `carl sync status`"},
	{SyncUnauthorized, ExitDenied, "the destination does not accept carl's credentials; it is paused, and everything for it is kept", "mend the credentials, then run `carl sync --resume NAME`"},
	{SyncMisconfigured, ExitFailed, "the destination cannot work as it is configured; it is paused, and everything for it is kept", "mend `destinations` in config.yaml, then run `carl sync --resume NAME`"},
	{SyncBusy, ExitFailed, "another sync is at work and did not end in time", "run the same command again"},
	{DeadLetterNotFound, ExitNotFound, "no dead letter has that id", "run `carl dlq list`"},

	{CampUnreachable, ExitFailed, "the platform did not answer", "check the network and `camp.url`"},
	{CampUnauthorized, ExitDenied, "the platform does not accept the token", "run `carl camp login`"},
	{CampRefused, ExitFailed, "the platform refused the request", "see the message"},
	{CampMalformed, ExitFailed, "the platform's answer is not what its API promises", "check `camp.url`; report it to the platform if the address is right"},
	{CampInvalid, ExitUsage, "the platform refuses what was sent (400, 413, 422); nothing was done", "mend what its message names"},
	{CampTokenInvalid, ExitUsage, "that cannot be a bearer token", "paste the token alone, on one line"},

	{EntitlementsNetworkUnavailable, ExitFailed, "the platform did not answer, or answered that it cannot serve now; the cached entitlements go on for their grace", "check the network and `camp.url`, then run `carl entitlements show --refresh`"},
	{EntitlementsSignatureInvalid, ExitTrust, "a token, or the set of keys to check it with, does not stand verification; which check failed is not told", "check this machine's clock, then run `carl entitlements show --refresh`; `--log-level debug` says which check failed"},
	{EntitlementsJWKSStale, ExitTrust, "the platform's keys do not follow from the pinned ones: one was exchanged, none was left, or the pin itself is missing or damaged", "compare with what the platform announced, then run `carl entitlements repin --expect THUMBPRINT`"},
	{EntitlementsCacheCorrupt, ExitTrust, "the cached entitlements are damaged or were edited; they count for nothing", "run `carl entitlements show --refresh`, or import the licence again"},
	{EntitlementsRefused, ExitDenied, "the platform grants this account no entitlements (402, 403); the grace of the cached ones has ended", "see the platform's message; `carl camp whoami` says which account's token is in use"},
	{EntitlementsLicenseRefused, ExitTrust, "the licence is genuine, and has ended, has not begun, or was made for another installation", "ask for a licence for this installation; `carl doctor` shows its id"},
	{EntitlementsNoKey, ExitTrust, "there is no key to verify with", "for the platform's tokens run `carl entitlements show --refresh`; for licences set `offline_root` in config.yaml"},

	{GateTierDenied, ExitDenied, "the feature needs a higher tier", "`carl entitlements show` says what is granted; `carl entitlements show --refresh` asks the platform again"},
	{GateTierRemoteMismatch, ExitDenied, "config.yaml declares a tier that the platform's verified entitlements do not grant", "correct `tier` in config.yaml, or run `carl entitlements show --refresh` if the plan was changed"},
	{GateUnknownFeature, ExitNotFound, "there is no feature of that name", "run `carl gate list`"},

	{ConstitutionInvalid, ExitUsage, "the constitution is not valid, or a part of it can never apply", "run `carl fsm check FILE`, and mend every line that it names"},
	{ActionInvalid, ExitUsage, "the action is not valid; nothing was decided or recorded", "see its form in `carl fsm evaluate --help`"},
	{ConstitutionNotAdopted, ExitDenied, "no constitution was adopted, or another one than the ledger's last decision was made by", "run `carl fsm adopt FILE`"},
	{ConstitutionDenied, ExitDenied, "the constitution denies the action; the decision stands in the ledger", "`carl fsm show` lists the rules of each state; to change them, mend the file and run `carl fsm adopt FILE`"},
	{ConstitutionEscalated, ExitDenied, "the constitution leaves the action to a person; the decision stands in the ledger", "ask whoever answers for it; `carl fsm show` lists the rules of each state"},
	{ForwardFailed, ExitFailed, "a block stands in the ledger, and did not reach its destination or is another one there", "run `carl ledger verify`, then `carl ledger replay`"},

	{LedgerTampered, ExitTrust, "the ledger is not what its signed head says; nothing was appended, and nothing was healed", "`carl ledger verify` names the first block or the file; compare with a copy or with receipts, and confirm a loss with `carl ledger recover --yes`"},
	{LedgerFailed, ExitFailed, "the ledger could not be read or written; what was not acknowledged does not count", "check space, owner and mode of the home, then run `carl ledger verify`"},
	{LedgerNotFound, ExitNotFound, "there is no ledger yet, or no such block in it", "run `carl ledger verify` for the blocks that are kept; `carl fsm adopt FILE` begins a ledger"},
	{LedgerKeyInvalid, ExitTrust, "the key that signs the ledger is missing, damaged, or not the one that signed it so far", "restore keys/ledger.key from a copy; `carl ledger key` prints its public half"},

	{TrainConfigInvalid, ExitUsage, "the training config is not valid, or its translator refuses it; nothing was sent or run", "mend the lines that are named; `carl train --schema` prints what a config may have"},
	{TrainNotFound, ExitNotFound, "the backend's program is not in the folder that was named", "name the folder of the backend's source with --slime-dir, or as `slime.dir` in config.yaml"},
	{HFTokenLeak, ExitTrust, "a Hugging Face token stands in the config or in what it became; nothing was sent, and the network was not touched", "take it out: the platform trains with a token of its own, and a local run inherits HF_TOKEN"},
	{SubmitFailed, ExitFailed, "the run could not be submitted, or it is not known whether it was", "run the same command again: it goes on under the same idempotency key, and never starts a second run"},
	{PayloadRefused, ExitUsage, "the platform refuses the run's arguments; no run was started", "mend the places that are named in the config"},
	{RunNotFound, ExitNotFound, "the platform knows no such run", "run `carl runs list`"},
	{RunFailed, ExitFailed, "the run ended without success", "see its error; `carl runs status ID` shows it again"},
	{RunWaitEnded, ExitFailed, "the waiting ended before the run did; the run goes on", "run `carl runs status ID --wait`"},
	{ResonantFailed, ExitFailed, "the file could not be published, or it is not known whether it was", "run the same command again: it goes on under the same idempotency key"},

	{ConsentUnknown, ExitUsage, "no such thing to consent to", "the only one is `telemetry`"},

	{SecretInvalid, ExitUsage, "the name or the value of a secret is not legal", "names are [a-z0-9-], values one line of visible ASCII"},
	{SecretNotFound, ExitNotFound, "no secret of that name is stored", "run `carl secret list`"},

	{PluginBadModule, ExitTrust, "the module was refused before it ran", "ask the plugin's author; `carl plugin inspect` says more"},
	{PluginBadOutput, ExitFailed, "the plugin returned what its contract does not allow", "ask the plugin's author"},
	{PluginTrapped, ExitFailed, "the plugin crashed", "ask the plugin's author"},
	{PluginOutOfMemory, ExitFailed, "the plugin wanted more memory than its limit", "allow more with `plugins.limits.memory_mib` in config.yaml"},
	{PluginTimeout, ExitFailed, "the plugin took longer than its limit", "allow more with `plugins.limits.timeout` in config.yaml"},
	{PluginFuelExhausted, ExitFailed, "the plugin executed more instructions than its limit", "allow more with `plugins.limits.fuel` in config.yaml"},
	{PluginFailed, ExitFailed, "the plugin reported an error of its own", "see its message"},
	{PluginNotFound, ExitNotFound, "no plugin of that name is installed or bundled", "run `carl plugin list`"},
	{PluginManifestInvalid, ExitUsage, "plugin.yaml is not valid", "mend the line that is named"},
	{PluginSettingsInvalid, ExitUsage, "the settings of a destination do not fit its plugin", "mend `destinations` in config.yaml"},
	{PluginGrantDenied, ExitDenied, "the plugin asked for what it was not granted", "grant it with `carl plugin install --grant …`, if you mean to"},
	{PluginUntrusted, ExitTrust, "the plugin is not signed by a key that you trust", "install a folder of your own with `carl plugin install --dev DIR`"},
	{PluginDigestMismatch, ExitTrust, "the stored plugin is not the one that was installed", "remove and install it again"},
	{PluginLockInvalid, ExitTrust, "carl.plugins.lock is damaged or was edited into something illegal", "restore it, or remove it and install the plugins again"},

	{DoctorFailed, ExitFailed, "at least one check failed", "run the command that the check names"},
}
