#!/usr/bin/perl
# A small application that knows nothing of tokens: it asks Breeze who it is, through the sidecar on its own loopback.
# perl application.pl [SECONDS between calls; 0: one call, and the end]
use strict;
use warnings;
use IO::Socket::INET;

$| = 1;
my $pause = shift // 10;
my $body = '{"query": "query WhoAmI { Me { userId email } }"}';
my $running = 1;
$SIG{TERM} = $SIG{INT} = sub { $running = 0 };

while ($running) {
    my $sidecar = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => 4747, Timeout => 5);
    if ($sidecar) {
        print $sidecar join("\r\n", 'POST /graphql HTTP/1.1', 'Host: 127.0.0.1', 'Content-Type: application/json',
            'Content-Length: ' . length $body, 'Connection: close', '', $body);
        local $/;
        my ($head, $answer) = split /\r\n\r\n/, <$sidecar> // '', 2;
        print $answer // 'no answer', "\n";
    } else {
        print "no connection: $@\n";
    }
    $pause ? $running && sleep $pause : last;
}
