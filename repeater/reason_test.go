package repeater

import (
	"errors"
	"fmt"
	"testing"

	"github.com/posthouse/posthouse/adapters"
)

// What an operator reads must tell a message that cannot be expressed from one that the target did not want.
func TestReasonsTellConversionFromRefusal(t *testing.T) {
	permanent := &adapters.Error{Op: "convert", Kind: adapters.Permanent, Err: errors.New("no such body")}
	large := &adapters.Error{Op: "send", Kind: adapters.Permanent, Err: fmt.Errorf("%w: 9 MiB", adapters.ErrTooLarge)}
	expression := fmt.Errorf("key: %w", errExpression{errors.New("not a number")})
	for _, c := range []struct{ got, want string }{
		{unsendable(permanent), reasonInvalid},
		{unsendable(large), reasonTooLarge},
		{unsendable(expression), reasonFilter},
		{refusalOf(permanent), reasonRejected},
		{refusalOf(large), reasonTooLarge},
	} {
		if c.got != c.want {
			t.Errorf("reason %q, want %q", c.got, c.want)
		}
	}
}
