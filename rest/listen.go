package rest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"masvfs/fetch/masv"
)

// Address says where to listen, and with what protection.
type Address struct {
	Spec            string // http://host:port, https://host:port, unix:///path or unix:///path?mode=0660
	TLSCert, TLSKey string // files in PEM form, for https
	Token           masv.Secret
}

// Listener is a listener for Serve.
type Listener struct {
	net.Listener
	hosts []string
}

// Hosts returns the name that the address was given by, if it was one.
func (l *Listener) Hosts() []string { return l.hosts }

// Check returns what is wrong with the address, before anything listens.
func (a Address) Check() error {
	_, _, err := a.parse()
	return err
}

// parse takes the address apart; config is nil without TLS.
func (a Address) parse() (u *url.URL, config *tls.Config, err error) {
	spec := a.Spec
	if strings.Contains(spec, "@") {
		spec = "" // what stands before it may be a password
	}
	malformed := fmt.Errorf("--listen %s: is not an address such as http://127.0.0.1:8080 or unix:///run/masvfs.sock", spec)
	u, err = url.Parse(a.Spec)
	if err != nil || u.User != nil || u.RawQuery != "" && u.Scheme != "unix" || u.Fragment != "" {
		return nil, nil, malformed
	}
	switch u.Scheme {
	case "unix":
		if u.Host != "" || len(u.Path) < 2 {
			return nil, nil, malformed
		}
		if _, err := socketMode(u.RawQuery); err != nil {
			return nil, nil, fmt.Errorf("--listen %s: %w", a.Spec, err)
		}
	case "http", "https":
		port, perr := strconv.Atoi(u.Port())
		if u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || perr != nil || port < 0 || port > 65535 {
			return nil, nil, malformed
		}
	default:
		return nil, nil, malformed
	}
	if u.Scheme != "https" {
		if a.TLSCert != "" || a.TLSKey != "" {
			return nil, nil, fmt.Errorf("--listen %s: --tls-cert and --tls-key are for https://", a.Spec)
		}
		return u, nil, nil
	}
	cert, err := tls.LoadX509KeyPair(a.TLSCert, a.TLSKey)
	if err != nil {
		return nil, nil, fmt.Errorf("--tls-cert and --tls-key, which https:// needs: %w", err)
	}
	return u, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}, nil
}

// socketMode reads whom a Unix socket is for: its owner, unless it says
// otherwise. Whoever may write to a socket may connect to it; no other bit
// means anything.
func socketMode(query string) (fs.FileMode, error) {
	switch query {
	case "", "mode=0600":
		return 0o600, nil
	case "mode=0660":
		return 0o660, nil
	case "mode=0666":
		return 0o666, nil
	}
	return 0, errors.New("after the ? of a Unix socket stands mode=0600 (its owner may connect), mode=0660 (its group, too) or mode=0666 (everybody on this machine)")
}

// Listen listens at the address. Anything but loopback and a Unix socket is
// refused without a token.
func (a Address) Listen() (*Listener, error) {
	u, config, err := a.parse()
	if err != nil {
		return nil, err
	}
	if u.Scheme == "unix" {
		mode, err := socketMode(u.RawQuery)
		if err != nil {
			return nil, err
		}
		return listenUnix(u.Path, mode)
	}
	l, err := net.Listen("tcp", u.Host)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("--listen %s: another program listens there, perhaps another masvfs or the MASV Agent, which uses port 8080 too; choose another port with --listen http://127.0.0.1:8081", a.Spec)
	}
	if err != nil {
		return nil, fmt.Errorf("--listen %s: %w", a.Spec, err)
	}
	if tcp, ok := l.Addr().(*net.TCPAddr); a.Token == "" && (!ok || !tcp.IP.IsLoopback()) {
		l.Close()
		return nil, fmt.Errorf("--listen %s: others can reach this address, so it needs an access token; put one into a file and name it with --token-file, or listen on 127.0.0.1", a.Spec)
	}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	return &Listener{Listener: l, hosts: []string{u.Hostname()}}, nil
}

// listenUnix listens on a Unix socket. What a killed agent has left behind is
// removed; a socket that somebody serves, or anything else there, is not.
func listenUnix(path string, mode fs.FileMode) (*Listener, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("--listen unix://%s: %w", path, err)
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("--listen unix://%s: something that is no socket is there; choose another path", path)
	default:
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			c.Close()
			return nil, fmt.Errorf("--listen unix://%s: another program listens there; choose another path", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("--listen unix://%s: remove what a killed agent has left: %w", path, err)
		}
	}
	// The mode is to be right from the first moment on.
	old := syscall.Umask(int(0o777 &^ mode))
	l, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("--listen unix://%s: %w", path, err)
	}
	return &Listener{Listener: l}, nil
}

// stopTime is how long calls may go on after the agent was asked to stop.
const stopTime = 5 * time.Second

// Serve serves h until ctx ends, then lets calls that are under way finish
// for a short while.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		// Nothing is answered past the guard.
		DisableGeneralOptionsHandler: true,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve REST: %w", err)
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		server.Close()
	}
	<-served
	return nil
}
