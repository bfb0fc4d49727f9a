/* An echo server on the State Threads library: a thread of its own for each connection. Usage: st_echo PORT */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <st.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static void *echo(void *argument)
{
    st_netfd_t peer = argument;
    char bytes[4096];
    ssize_t received;
    while ((received = st_read(peer, bytes, sizeof bytes, ST_UTIME_NO_TIMEOUT)) > 0)
        if (st_write(peer, bytes, (size_t)received, ST_UTIME_NO_TIMEOUT) != received)
            break;
    st_netfd_close(peer);
    return NULL;
}

int main(int count, char **arguments)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    int one = 1;
    if (count != 2) {
        fprintf(stderr, "usage: st_echo PORT\n");
        return 2;
    }
    st_set_eventsys(ST_EVENTSYS_ALT);
    if (st_init() < 0) {
        perror("st_init");
        return 1;
    }
    int sock = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((unsigned short)atoi(arguments[1]));
    setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(sock, (struct sockaddr *)&address, sizeof address) < 0 || listen(sock, 1024) < 0) {
        perror("cannot listen");
        return 1;
    }
    st_netfd_t listener = st_netfd_open_socket(sock);
    for (;;) {
        st_netfd_t peer = st_accept(listener, NULL, NULL, ST_UTIME_NO_TIMEOUT);
        if (!peer)
            continue;
        setsockopt(st_netfd_fileno(peer), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (!st_thread_create(echo, peer, 0, 65536))
            st_netfd_close(peer);
    }
}
