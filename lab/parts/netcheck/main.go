// Command netcheck is what the lab's pods run: it waits, serves, or asks.
//
//	netcheck                  wait for a signal (the pause image)
//	netcheck -v               end at once, as the pause image does when kubeadm upgrade tries whether pods run
//	netcheck serve ADDR...    answer every connection with the host name, until a signal
//	netcheck get ADDR         print the answer of one connection; exit 1 if there is none within 2 seconds
//	netcheck lookup NAME      resolve a name; exit 1 if that takes more than 2 seconds
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "netcheck: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 0:
		waitForSignal()
		return nil
	case len(args) == 1 && args[0] == "-v":
		fmt.Println("netcheck")
		return nil
	case args[0] == "serve" && len(args) > 1:
		for _, addr := range args[1:] {
			if err := serve(addr); err != nil {
				return err
			}
		}
		waitForSignal()
		return nil
	case args[0] == "get" && len(args) == 2:
		return get(args[1])
	case args[0] == "lookup" && len(args) == 2:
		return lookup(args[1])
	}
	return fmt.Errorf("usage: netcheck [-v | serve ADDR... | get ADDR | lookup NAME]")
}

func waitForSignal() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM)
	<-c
}

func serve(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				fmt.Fprintf(os.Stderr, "netcheck: %v\n", err)
				os.Exit(1)
			}
			fmt.Fprintln(c, host)
			c.Close()
		}
	}()
	return nil
}

func get(addr string) error {
	c, err := net.DialTimeout("tcp", addr, 2*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, c)
	return err
}

func lookup(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupHost(ctx, name)
	if err != nil {
		return err
	}
	fmt.Println(strings.Join(addrs, "\n"))
	return nil
}
