package http

import "carl.camp/carl/sdk/internal/abi"

//go:wasmimport carl:plugin/http@0.1.0 send
func importedSend(methodPtr, methodLen, urlPtr, urlLen, headersPtr, headersLen, bodyPtr, bodyLen, timeoutSome, timeout, result uint32)

// kept holds what the host reads and writes while a request is under way: as
// addresses alone, the collector would not see it. An instance sends one
// request at a time.
var kept struct {
	request *Request
	headers []abi.Header
	result  abi.HTTPResult
}

func send(r *Request) (*Response, error) {
	headers := make([]abi.Header, len(r.Headers))
	for i, h := range r.Headers {
		headers[i] = abi.Header{Name: abi.ToStr(h.Name), Value: abi.ToStr(h.Value)}
	}
	kept.request, kept.headers = r, headers
	method, url, list, body := abi.ToStr(r.Method), abi.ToStr(r.URL), abi.ToList(headers), abi.ToList(r.Body)
	var some uint32
	if r.TimeoutMS > 0 {
		some = 1
	}
	importedSend(method.Ptr, method.Len, url.Ptr, url.Len, list.Ptr, list.Len, body.Ptr, body.Len,
		some, r.TimeoutMS, abi.Addr(&kept.result))
	kept.request, kept.headers = nil, nil
	return lift(&kept.result)
}

func lift(result *abi.HTTPResult) (*Response, error) {
	if result.Err != 0 {
		failed := &Error{Kind: ErrorKind(result.Error().Case)}
		if failed.Kind == Denied || failed.Kind == Network {
			failed.Text = abi.String(result.Error().Text)
		}
		return nil, failed
	}
	out := &Response{Status: int(result.Status), Body: abi.Bytes(result.Body)}
	for _, h := range abi.List[abi.Header](result.Headers) {
		out.Headers = append(out.Headers, Header{Name: abi.String(h.Name), Value: abi.String(h.Value)})
	}
	return out, nil
}
