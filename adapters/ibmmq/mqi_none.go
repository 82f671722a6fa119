//go:build !cgo || !ibmmq

package ibmmq

// Built reports whether this binary can speak to IBM MQ, given IBM's client library on the machine.
const Built = false

// binding is what there is without the build tag: nothing.
type binding struct{}

func (binding) connect(settings, string) (connection, error) {
	return nil, &mqError{verb: "MQCONNX", cc: mqccFailed, rc: mqrcEnvironment, words: errNotBuilt.Error()}
}

func (binding) library() (string, error) { return "", errNotBuilt }
