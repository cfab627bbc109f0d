package masv_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode"

	"masvfs/fetch/masv"
)

const linkID = "01D2TMG9F5GHMHX8RWZ453VA35"

func TestParseLinkReadsWhatPeoplePaste(t *testing.T) {
	for name, text := range map[string]string{
		"as MASV sends it":                     "https://get.massive.io/" + linkID + "?secret=abc",
		"the older host":                       "https://get.massive.app/" + linkID + "?secret=abc",
		"a host in capitals":                   "HTTPS://Get.MASSIVE.io/" + linkID + "?secret=abc",
		"an identifier in lower case":          "https://get.massive.io/" + strings.ToLower(linkID) + "?secret=abc",
		"plain http":                           "http://get.massive.io/" + linkID + "?secret=abc",
		"tracking parameters behind":           "https://get.massive.io/" + linkID + "?secret=abc&utm_source=mail;x&fbclid=%zz",
		"tracking parameters in front":         "https://get.massive.io/" + linkID + "?utm_source=mail&secret=abc",
		"a fragment":                           "https://get.massive.io/" + linkID + "?secret=abc#top?secret=other",
		"a fragment that is not escaped right": "https://get.massive.io/" + linkID + "?secret=abc#%zz",
		"white space around it":                " \t\r\nhttps://get.massive.io/" + linkID + "?secret=abc \n",
		"angle brackets around it":             "< https://get.massive.io/" + linkID + "?secret=abc >\n",
		"a slash behind the identifier":        "https://get.massive.io/" + linkID + "/?secret=abc",
		"an escaped secret":                    "https://get.massive.io/" + linkID + "?secret=%61bc",
		"the secret twice, the same":           "https://get.massive.io/" + linkID + "?secret=abc&secret=abc",
	} {
		t.Run(name, func(t *testing.T) {
			link, err := masv.ParseLink(text)
			if err != nil || link != (masv.Link{ID: linkID, Secret: "abc"}) {
				t.Errorf("ParseLink = %v, %v", link, err)
			}
		})
	}
}

func TestParseLinkSaysWhatIsWrong(t *testing.T) {
	const host, id = "https://get.massive.io/", linkID
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", "is empty"},
		{"white space", " \n\t", "is empty"},
		{"empty brackets", "<>", "is empty"},
		{"an endless text", host + id + "?secret=" + strings.Repeat("bqkBtnPw", 2000), "is longer than"},
		{"a line break inside", host + id + "?secret=bqk\nBtnPw", "line break"},
		{"a bad escape in the path", host + "%zz?secret=bqkBtnPw", "not a web address"},
		{"no scheme", "get.massive.io/" + id + "?secret=bqkBtnPw", "does not begin with https://"},
		{"another scheme", "ftp://get.massive.io/" + id + "?secret=bqkBtnPw", "does not begin with https://"},
		{"a bare secret", "bqkBtnPw", "does not begin with https://"},
		{"another host", "https://example.com/" + id + "?secret=bqkBtnPw", "its host"},
		{"a host that ends alike", "https://evil-get.massive.io.example/" + id + "?secret=bqkBtnPw", "its host"},
		{"a subdomain", "https://x.get.massive.io/" + id + "?secret=bqkBtnPw", "its host"},
		{"no host", "https:///" + id + "?secret=bqkBtnPw", "its host"},
		{"a user name", "https://bqkBtnPw@get.massive.io/" + id + "?secret=abc", "user name"},
		{"a user name that looks like the host", "https://get.massive.io@evil.example/" + id + "?secret=abc", "user name"},
		{"a port", "https://get.massive.io:443/" + id + "?secret=bqkBtnPw", "a port"},
		{"an empty port", "https://get.massive.io:/" + id + "?secret=bqkBtnPw", "a port"},
		{"no identifier", host + "?secret=bqkBtnPw", "is missing"},
		{"more than an identifier", host + "d/" + id + "?secret=bqkBtnPw", "more than an identifier"},
		{"a short identifier", host + id[1:] + "?secret=bqkBtnPw", "25 characters in place of 26"},
		{"a long identifier", host + id + "0?secret=bqkBtnPw", "27 characters in place of 26"},
		{"a letter that base32 lacks", host + "U" + id[1:] + "?secret=bqkBtnPw", "a character that cannot be in one"},
		{"a letter that upper case would mend", host + "ı" + id[1:] + "?secret=bqkBtnPw", "a character that cannot be in one"},
		{"an identifier of more than 128 bits", host + "8" + id[1:] + "?secret=bqkBtnPw", "from 0 to 7"},
		{"no secret", host + id, "secret is missing"},
		{"the secret's name alone", host + id + "?secret", "secret is empty"},
		{"an empty secret", host + id + "?secret=", "secret is empty"},
		{"a secret by another name", host + id + "?Secret=bqkBtnPw", "secret is missing"},
		{"two secrets", host + id + "?secret=bqkBtnPw&secret=abc", "two different secrets"},
		{"a secret with a bad escape", host + id + "?secret=bqkBtnPw%zz", "its secret has a character"},
		{"a secret with a NUL", host + id + "?secret=bqkBtnPw%00", "its secret has a character"},
		{"a secret with a blank", host + id + "?secret=bqkBtnPw abc", "its secret has a character"},
		{"a secret that is not UTF-8", host + id + "?secret=bqkBtnPw%ff", "its secret has a character"},
		{"a secret with the mark that closed the link", host + id + "?secret=bqkBtnPw>", "its secret has a character"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			link, err := masv.ParseLink(tt.text)
			if err == nil {
				t.Fatalf("ParseLink = %v, no error", link)
			}
			if link != (masv.Link{}) {
				t.Error("a link came with the error")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want one with %q", err, tt.want)
			}
			if !strings.Contains(err.Error(), "https://get.massive.io/01D2TMG9F5GHMHX8RWZ453VA35?secret=SECRET") {
				t.Errorf("error does not tell how a right link looks: %v", err)
			}
			for _, piece := range []string{"bqk", "BtnPw", "example", "evil"} {
				if strings.Contains(err.Error(), piece) {
					t.Errorf("error quotes the text: %v", err)
				}
			}
		})
	}
}

func TestALinkIsWrittenAsItIsRead(t *testing.T) {
	for _, secret := range []masv.Secret{"abc", "a+b/c=", "a%26b&c", "ä€😀", linkSecret} {
		link := masv.Link{ID: linkID, Secret: secret}
		back, err := masv.ParseLink(link.URL().Reveal())
		if err != nil || back != link {
			t.Errorf("ParseLink of the URL of a link: %v, the same: %t", err, back == link)
		}
	}
	link := masv.Link{ID: linkID, Secret: linkSecret}
	if got := link.String(); got != "https://get.massive.io/"+linkID+"?secret=***" {
		t.Errorf("String = %s", got)
	}
	if got := fmt.Sprint(masv.Link{}); got != "" {
		t.Errorf("the zero Link prints as %q", got)
	}
	if link, err := masv.ParseLink("https://get.massive.io/" + linkID + "?secret=a+b"); err != nil || link.Secret != "a+b" {
		t.Errorf("a '+' that nobody escaped stands for itself: %v, %t", err, link.Secret == "a+b")
	}
}

func FuzzParseLink(f *testing.F) {
	for _, text := range []string{
		"https://get.massive.io/" + linkID + "?secret=abc",
		"<HTTP://GET.MASSIVE.APP/" + strings.ToLower(linkID) + "/?utm=1&secret=a%2Bb#x>",
		"https://get.massive.io/" + linkID + "?secret=a+b&secret=a%2Bb",
		"https://u:p@get.massive.io:443/" + linkID + "?secret=abc",
		"https://get.massive.io/" + linkID[:20] + "?secret=",
		"", "<>", "http:get.massive.io", "https://[::1]/%00?secret=%ff",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		link, err := masv.ParseLink(text)
		if err != nil {
			if link != (masv.Link{}) {
				t.Error("a link came with an error")
			}
			// Any part of the text may be the secret, mistyped.
			says, _, _ := strings.Cut(err.Error(), " (a link looks like")
			for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
				if len(word) >= 8 && strings.Contains(says, word) {
					t.Errorf("%q is quoted in: %v", word, err)
				}
			}
			return
		}
		if bare := strings.TrimSpace(text); !strings.HasPrefix(bare, "<") && len(bare) < 8000 {
			for _, pasted := range []string{"\t" + bare + "\r\n", "< " + bare + ">", bare + "#top"} {
				if again, err := masv.ParseLink(pasted); err != nil || again != link {
					t.Errorf("pasted as %q it is another: %v", pasted, err)
				}
			}
		}
		if strings.Contains(link.String(), link.Secret.Reveal()) && !strings.Contains(link.ID+"https://get.massive.io/?secret=***", link.Secret.Reveal()) {
			t.Errorf("the secret is shown: %s", link)
		}
		if len(link.ID) != 26 || link.ID != strings.ToUpper(link.ID) || link.Secret == "" {
			t.Errorf("not a whole link: %v", link)
		}
		if back, err := masv.ParseLink(link.URL().Reveal()); err != nil || back != link {
			t.Errorf("the link's URL is not read as the link: %v", err)
		}
	})
}
