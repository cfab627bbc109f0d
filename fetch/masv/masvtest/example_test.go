package masvtest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"masvfs/fetch/masv/masvtest"
)

// A package of one file is downloaded by hand, over a storage that fails once.
func Example() {
	cloud := masvtest.NewServer()
	defer cloud.Close()
	link := cloud.AddPackage(masvtest.Package{
		Name:  "Dailies",
		Files: []masvtest.File{{Name: "clip.mov", Path: "Day 1", Size: 1 << 20}},
	})
	cloud.Fault(masvtest.Times(1, masvtest.On(masvtest.CallStorage, masvtest.Status(503))))

	var pkg struct {
		ID    string `json:"package_id"`
		Token string `json:"package_token"`
	}
	ask(cloud.URL+"/links/"+link.ID+"?secret="+link.Secret, "", &pkg)
	files := cloud.URL + "/packages/" + pkg.ID + "/files"
	var listing []struct{ ID, Path, Name string }
	ask(files, pkg.Token, &listing)
	var file struct{ URL string }
	ask(files+"/"+listing[0].ID+"/download", pkg.Token, &file)
	for range 2 {
		resp, err := http.Get(file.URL)
		if err != nil {
			panic(err)
		}
		n, _ := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			fmt.Println(resp.Status)
			continue
		}
		fmt.Println(listing[0].Path, listing[0].Name, n)
	}
	stats := cloud.Stats()
	fmt.Println("served", stats.Served, "twice", stats.Twice, "leaks", stats.Leaks)

	// Output:
	// 503 Service Unavailable
	// Day 1 clip.mov 1048576
	// served 1048576 twice 0 leaks 0
}

func ask(url, token string, answer any) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		panic(err)
	}
	if token != "" {
		req.Header.Set("X-Package-Token", token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		panic(err)
	}
}
