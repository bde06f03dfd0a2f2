// Package files is the file access that plugins may have: durable append to
// files below one directory that the operator chose, and nothing else.
//
// # What a file is
//
// A file is a sequence of lines. An append is either there as a whole when
// [Dir.Append] returns nil, on disk and not only in memory, or the file is as
// it was. Data that does not end its last line gets a line feed, since the end
// of a file that is no line's end is how a torn append is known: whatever
// follows the last line feed was never acknowledged, and is cut before the
// next append.
//
// # What a path is
//
// A relative path with forward slashes, without "." or ".." elements. It is
// resolved through [os.Root], so that neither it nor a symbolic link leads out
// of the directory. What it names must be a regular file with one link: a FIFO
// would hold the host up, and a second link is a file that lies elsewhere.
//
// Appends of several processes to one file do not mix: each holds an advisory
// lock on the file for its duration.
package files
