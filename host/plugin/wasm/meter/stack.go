package meter

// stack holds what each function takes of the native stack.
type stack struct {
	weight []uint32 // bytes that the function's entry takes and its exit gives back; 0 if it is not counted
}

func measure(p *parsed) (*stack, error) {
	s := &stack{weight: make([]uint32, len(p.bodies))}
	f := new(flow)
	for i := range p.bodies {
		if err := f.analyze(p, i); err != nil {
			return nil, err
		}
		if len(f.calls) > 0 || f.indirect {
			s.weight[i] = uint32(64 + 8*(int(f.params)+p.bodies[i].locals))
		}
	}
	return s, nil
}
