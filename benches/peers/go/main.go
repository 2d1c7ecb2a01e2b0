// Command gorilla is a peer on gorilla/websocket: `/echo`, `/ws/TOPIC`, `/pub/TOPIC`, 404 for all else.
//
// What is published is a PreparedMessage, whose frame is made once for all subscribers. The library writes each frame
// by itself, so a subscriber's connection gathers what waits for it, and one write takes all of it. On one thread
// (GOMAXPROCS 1), without compression.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"

	"github.com/gorilla/websocket"
)

const (
	// Messages that may wait for one subscriber; one who is further behind is closed.
	waitingMax = 1 << 16
	// Bytes that are gathered before they are written.
	gatheredBytes = 64 << 10
)

// conn writes through, or gathers what is written until it is flushed.
type conn struct {
	net.Conn
	mutex    sync.Mutex
	gathered *bufio.Writer
}

func (c *conn) Write(bytes []byte) (int, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.gathered == nil {
		return c.Conn.Write(bytes)
	}
	return c.gathered.Write(bytes)
}

func (c *conn) gather() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.gathered = bufio.NewWriterSize(c.Conn, gatheredBytes)
}

func (c *conn) flush() error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.gathered.Flush()
}

// listener wraps what it accepts. Go sets TCP_NODELAY by itself.
type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	stream, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: stream}, nil
}

// subscriber is what waits for one connection.
type subscriber struct {
	mutex   sync.Mutex
	waiting []*websocket.PreparedMessage
	// Holds one when something waits.
	wake chan struct{}
	ends bool
}

type topic struct {
	mutex       sync.Mutex
	subscribers map[*subscriber]struct{}
}

var (
	topicsMutex sync.Mutex
	topics      = map[string]*topic{}
	upgrader    = websocket.Upgrader{
		ReadBufferSize:  16 << 10,
		WriteBufferPool: &sync.Pool{},
		CheckOrigin:     func(*http.Request) bool { return true },
	}
)

func topicOf(name string) *topic {
	topicsMutex.Lock()
	defer topicsMutex.Unlock()
	found := topics[name]
	if found == nil {
		found = &topic{subscribers: map[*subscriber]struct{}{}}
		topics[name] = found
	}
	return found
}

func (s *subscriber) put(message *websocket.PreparedMessage) {
	s.mutex.Lock()
	if len(s.waiting) == waitingMax {
		s.ends = true
	} else {
		s.waiting = append(s.waiting, message)
	}
	s.mutex.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *subscriber) take(batch []*websocket.PreparedMessage) ([]*websocket.PreparedMessage, bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	taken := s.waiting
	s.waiting = batch[:0]
	return taken, s.ends
}

func echo(w http.ResponseWriter, r *http.Request) {
	socket, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer socket.Close()
	for {
		kind, message, err := socket.ReadMessage()
		if err != nil {
			return
		}
		if socket.WriteMessage(kind, message) != nil {
			return
		}
	}
}

func subscribe(w http.ResponseWriter, r *http.Request) {
	to := topicOf(strings.TrimPrefix(r.URL.Path, "/ws/"))
	socket, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	stream := socket.UnderlyingConn().(*conn)
	stream.gather()
	gatherAnswers(socket, stream)
	self := &subscriber{wake: make(chan struct{}, 1)}
	to.mutex.Lock()
	to.subscribers[self] = struct{}{}
	to.mutex.Unlock()
	go self.write(socket, stream)
	for {
		if _, _, err := socket.NextReader(); err != nil {
			break
		}
	}
	to.mutex.Lock()
	delete(to.subscribers, self)
	to.mutex.Unlock()
	socket.Close()
	close(self.wake)
}

// gatherAnswers flushes the answers to pings and to a close, which the library writes by itself.
func gatherAnswers(socket *websocket.Conn, stream *conn) {
	ping, bye := socket.PingHandler(), socket.CloseHandler()
	socket.SetPingHandler(func(data string) error {
		if err := ping(data); err != nil {
			return err
		}
		return stream.flush()
	})
	socket.SetCloseHandler(func(code int, text string) error {
		if err := bye(code, text); err != nil {
			return err
		}
		return stream.flush()
	})
}

func (s *subscriber) write(socket *websocket.Conn, stream *conn) {
	defer socket.Close()
	var batch []*websocket.PreparedMessage
	for range s.wake {
		var ends bool
		batch, ends = s.take(batch)
		for _, message := range batch {
			if socket.WritePreparedMessage(message) != nil {
				return
			}
		}
		if ends || stream.flush() != nil {
			return
		}
	}
}

func publish(w http.ResponseWriter, r *http.Request) {
	to := topicOf(strings.TrimPrefix(r.URL.Path, "/pub/"))
	socket, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer socket.Close()
	for {
		kind, bytes, err := socket.ReadMessage()
		if err != nil {
			return
		}
		message, err := websocket.NewPreparedMessage(kind, bytes)
		if err != nil {
			return
		}
		to.mutex.Lock()
		for subscriber := range to.subscribers {
			subscriber.put(message)
		}
		to.mutex.Unlock()
	}
}

func route(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	switch {
	case path == "/echo":
		echo(w, r)
	case strings.HasPrefix(path, "/ws/") && path != "/ws/":
		subscribe(w, r)
	case strings.HasPrefix(path, "/pub/") && path != "/pub/":
		publish(w, r)
	default:
		http.NotFound(w, r)
	}
}

func main() {
	port := flag.Int("port", 8090, "of 127.0.0.1")
	flag.Parse()
	runtime.GOMAXPROCS(1)
	plain, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(listener{plain}, http.HandlerFunc(route)))
}
