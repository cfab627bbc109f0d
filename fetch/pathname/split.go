package pathname

import "strings"

// Split takes apart the path of the folder and the name that a sender gave to
// one entry. Both may hold '/', which separates components wherever it stands;
// a back-slash does not. Components that are empty or "." say nothing and are
// dropped; ".." is kept as it is, to be cleaned like any name. A name without
// any component gives an empty base.
func Split(path, name string) (folders []string, base string) {
	folders = components(path)
	names := components(name)
	if len(names) == 0 {
		return folders, ""
	}
	last := len(names) - 1
	return append(folders, names[:last]...), names[last]
}

func components(path string) []string {
	var parts []string
	for part := range strings.SplitSeq(path, "/") {
		if part != "" && part != "." {
			parts = append(parts, part)
		}
	}
	return parts
}
