// Package files appends to files below the one directory that the operator
// granted to the plugin.
package files

import "errors"

// Append adds data to the end of the file at path, making the file when there
// is none, and returns when it is on the disk: all of data, or none of it. The
// path is relative to the granted directory, with slashes, and leaves it
// neither by ".." nor by a link. There is no way to read a file.
func Append(path string, data []byte) error {
	if failed := appendFile(path, data); failed != "" {
		return errors.New(failed)
	}
	return nil
}
