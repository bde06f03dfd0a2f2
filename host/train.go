package host

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/camp"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/plugin"
	"carl.camp/carl/host/plugin/wasm"
	"carl.camp/carl/host/private"
	"carl.camp/carl/host/step"
	"carl.camp/carl/host/tier"
	"carl.camp/carl/host/train"
)

// Translator is one loaded translator. Close it.
type Translator struct {
	*wasm.Translator
	plugin *wasm.Plugin
	name   string
}

// Name is the plugin's name.
func (t *Translator) Name() string { return t.name }

// Close frees the translator.
func (t *Translator) Close() error { return t.plugin.Close(context.Background()) }

// TranslatorName is the plugin of a backend: one without a slash is bundled.
func TranslatorName(backend string) string {
	if strings.Contains(backend, "/") {
		return backend
	}
	return "carl.camp/" + backend
}

// Translator loads the translator of a backend, `slime` or the name of a plugin. The
// error is carl.plugin.not_found where there is none of that name.
func (h *Host) Translator(ctx context.Context, backend string) (*Translator, error) {
	l := h.newLoader()
	p, err := l.catalog.Resolve(TranslatorName(backend))
	if err != nil {
		return nil, err
	}
	loaded, err := l.load(ctx, p, plugin.Translator, nil)
	if err != nil {
		return nil, err
	}
	return &Translator{loaded.Translator(), loaded, p.Manifest.Name}, nil
}

// SubmitTraining starts a run on the platform, once per idempotency key, if the gate
// lets it: see [train.Submit]. key may be "". A run that was started is recorded as a
// step.
//
// The error is that of the gate, carl.camp.unauthorized, or as of [train.Submit].
func (h *Host) SubmitTraining(ctx context.Context, plan *train.Plan, key string, trying func(error, time.Duration)) (*train.Submitted, error) {
	if d := h.CheckRemote(tier.TrainManaged); !d.Allowed {
		return nil, d.Err()
	}
	client, err := h.platform(true)
	if err != nil {
		return nil, err
	}
	if err := h.home.Create(); err != nil {
		return nil, err
	}
	submitted, err := train.Submit(ctx, client, plan.Payload(), train.SubmitOptions{
		Keys:     h.home.Paths.Submissions,
		Platform: h.config.Camp.URL,
		Key:      key,
		Trying:   trying,
	})
	if submitted != nil && !submitted.Earlier {
		h.recordRun(step.External, "training run submitted", submitted.Run, plan)
	}
	return submitted, err
}

// recordRun records a step about a run, which stands without it.
func (h *Host) recordRun(action, name string, run camp.Run, plan *train.Plan) {
	yes := true
	metadata := `{"slime_run_id":` + strconv.Quote(run.ID) + `,"status":` + quoteJSON(run.Status)
	if plan != nil {
		metadata += `,"backend":` + quoteJSON(plan.Backend) + `,"config_digest":` + strconv.Quote(plan.ConfigDigest)
	}
	if run.ResonantID != "" {
		metadata += `,"resonant_id":` + quoteJSON(run.ResonantID)
	}
	s := step.Step{Action: action, Name: name, Session: run.ID, Success: &yes, Metadata: []byte(metadata + "}")}
	if err := h.Record(s); err != nil {
		h.log.Warn("the run could not be recorded; it goes on", "run", run.ID, "error", err)
	}
}

// maxRecorded bounds the list of resonants that were recorded, in bytes; beyond it
// the older half is forgotten.
const maxRecorded = 256 << 10

// recordResonant records a checkpoint for a resonant, once: whoever asks for a run
// again sees the same one.
func (h *Host) recordResonant(run camp.Run) {
	if run.ResonantID == "" {
		return
	}
	first, err := h.firstTime(run.ResonantID)
	if err != nil {
		h.log.Warn("it is not known which resonants were recorded", "error", err)
	}
	if first {
		h.recordRun(step.Checkpoint, "resonant finished", run, nil)
	}
}

// firstTime notes a resonant, and reports whether it was not there before.
func (h *Host) firstTime(resonant string) (bool, error) {
	if err := h.home.Create(); err != nil {
		return false, err
	}
	folder := h.home.Paths.Submissions
	if err := private.MkdirAll(folder); err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	lock, err := private.Lock(ctx, filepath.Join(folder, "recorded.lock"))
	if err != nil {
		return false, err
	}
	defer lock.Unlock()
	path := filepath.Join(folder, "recorded")
	data, err := private.ReadFile(path, 2*maxRecorded)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	line := resonant + "\n"
	if strings.HasPrefix(string(data), line) || strings.Contains(string(data), "\n"+line) {
		return false, nil
	}
	if len(data) > maxRecorded {
		data = data[len(data)/2:]
		data = data[bytes.IndexByte(data, '\n')+1:]
	}
	return true, private.WriteFile(path, append(data, line...))
}

// Run asks the platform how a run is. The error is carl.slime.run_not_found, or as of
// [camp.CallError.Fault].
func (h *Host) Run(ctx context.Context, id string) (camp.Run, error) {
	client, err := h.platform(true)
	if err != nil {
		return camp.Run{}, err
	}
	run, err := client.Run(ctx, id)
	return run, runError(id, err)
}

// Runs asks the platform for the account's runs.
func (h *Host) Runs(ctx context.Context) ([]camp.Run, error) {
	client, err := h.platform(true)
	if err != nil {
		return nil, err
	}
	runs, err := client.Runs(ctx)
	return runs, runError("", err)
}

// WaitRun waits for the end of a run: see [train.Wait]. A checkpoint is recorded when
// its resonant is there.
func (h *Host) WaitRun(ctx context.Context, id string, seen func(camp.Run), lost func(error, time.Duration)) (camp.Run, error) {
	client, err := h.platform(true)
	if err != nil {
		return camp.Run{}, err
	}
	run, err := train.Wait(ctx, client, id, func(run camp.Run) {
		h.recordResonant(run)
		if seen != nil {
			seen(run)
		}
	}, lost)
	return run, runError(id, err)
}

// runError puts the error of a call about runs into words.
func runError(id string, err error) error {
	var call *camp.CallError
	switch {
	case !errors.As(err, &call):
		return err
	case call.Failure == camp.FailNotFound && id != "":
		return fault.New(fault.RunNotFound, "the platform knows no run %s", id)
	}
	return call.Fault()
}

// PublishResonant sends size bytes to the platform as what came of a run; runID may
// be "". They are read twice: the same bytes of the same run are published once,
// however often the command is repeated. progress, which may be nil, is told how
// many bytes were taken to be sent.
//
// The error is carl.slime.run_not_found, carl.resonant.publish_failed, or as of
// [camp.CallError.Fault].
func (h *Host) PublishResonant(ctx context.Context, r io.ReadSeeker, size int64, runID string, progress func(sent int64)) (string, error) {
	client, err := h.platform(true)
	if err != nil {
		return "", err
	}
	if size == 0 {
		return "", fault.New(fault.Usage, "it is empty").WithKept("nothing was published")
	}
	sum := sha256.New()
	sum.Write([]byte(runID + "\n"))
	_, err = io.Copy(sum, readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return r.Read(p)
	}))
	if err == nil {
		_, err = r.Seek(0, io.SeekStart)
	}
	if err != nil {
		return "", fault.New(fault.IO, "what is to be published cannot be read: %w", err).WithKept("nothing was published")
	}
	id, err := client.PublishResonant(ctx, r, size, runID, hex.EncodeToString(sum.Sum(nil)), progress)
	var call *camp.CallError
	if !errors.As(err, &call) {
		if err == nil {
			h.recordResonant(camp.Run{ID: runID, Status: "published", ResonantID: id})
		}
		return id, err
	}
	switch call.Failure {
	case camp.FailNotFound:
		return "", fault.New(fault.RunNotFound, "the platform knows no run %s", runID).WithKept("nothing was published")
	case camp.FailNetwork, camp.FailUnavailable, camp.FailThrottled, camp.FailMalformed:
		kept := "nothing was published"
		if !call.Definite {
			kept = "whether it was published is not known"
		}
		return "", fault.New(fault.ResonantFailed, "%w", call).WithKept("%s", kept)
	}
	return "", call.Fault().WithKept("nothing was published")
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// LocalLog is what makes steps of the output of a run on this machine.
func (h *Host) LocalLog(runID string) *train.Log {
	return &train.Log{RunID: runID, Record: func(s step.Step) {
		if err := h.Record(s); err != nil {
			h.log.Warn("a step of the run could not be recorded; the run goes on", "step", s.Name, "error", err)
		}
	}}
}

func quoteJSON(s string) string {
	b, _ := jsontext.AppendQuote(nil, strings.ToValidUTF8(s, "�"))
	return string(b)
}

// SlimeDir is the folder of a local slime that config.yaml names, or "".
func (h *Host) SlimeDir() string {
	if h.config.SlimeDir == "" {
		return ""
	}
	return filepath.Clean(h.config.SlimeDir)
}
