#!/bin/sh
# Rules that compilers do not check; prints every offence and fails when there is one.
set -eu
cd "$(dirname "$0")/.."
exec perl - <<'PERL'
use strict;
my @files = -e '.git' ? split(/\n/, `git ls-files -co --exclude-standard 2>/dev/null`) : ();
@files = split(/\n/, `find . -type f -not -path './build/*' -not -path './.git/*' | sed 's,^\./,,'`) unless @files;
my ($bad, $checked) = (0, 0);
sub say_bad { my ($f, $n, $why) = @_; print "lint: $f:$n: $why\n"; $bad++; }

# Never, anywhere.
my $banned = qr/\b(strcpy|strcat|stpcpy|sprintf|vsprintf|gets|atoi|atol|atoll|atof|alloca|system|popen|tmpnam|mktemp|rand|srand|drand48)\s*\(/;
# A library does not end its host.
my $ending = qr/(?<![_\w])(exit|abort|assert|longjmp|setjmp|_Exit|quick_exit)\s*\(/;
# Results must not depend on the libm variant that a CPU selects.
my $libm = qr/(?<![\w.>])((exp|exp2|exp10|expm1|log|log2|log10|log1p|pow|sin|cos|tan|sincos|asin|acos|atan|atan2|sinh|cosh|tanh|asinh|acosh|atanh|erf|erfc|lgamma|tgamma|cbrt|hypot)[fl]?)\s*\(/;
# Files and memory go through base/, where errors can be injected; src/lib hands out what callers free().
my $files_io = qr/(?<![\w.>])(fopen|freopen|open|creat|rename|unlink|mkdir|rmdir|fsync|opendir|mmap|munmap)\s*\(/;
my $heap = qr/(?<![\w.>])(malloc|calloc|realloc|strdup|strndup|asprintf)\s*\(/;

for my $f (@files) {
    next unless -f $f && $f =~ /(\.(c|h|sh|py|md|yaml)|^[^\/.]+)$/ && $f ne 'LICENSE';
    open(my $h, '<', $f) or next;
    local $/; my $text = <$h>; close $h;
    $checked++;
    my $lines = ($text =~ tr/\n//);
    my $generated = $text =~ /\A[^\n]*[Gg]enerated by [\w\/.]+/;
    say_bad($f, $lines, "$lines lines; 800 at most") if $lines > 800 && !$generated && $f !~ /\.md$/;
    my $n = 0;
    for my $l (split(/\n/, $text)) {
        $n++;
        say_bad($f, $n, 'tab') if $l =~ /\t/ && $f =~ /\.[ch]$/;
        say_bad($f, $n, 'white space at the end of the line') if $l =~ /[ \t\r]$/;
        say_bad($f, $n, 'path of one machine') if $l =~ m,(^|[\s"'=(])/(work|home|root)/\w, && $f ne 'tools/lint.sh';
        say_bad($f, $n, 'unfinished: ' . $1) if $l =~ /\b(TODO|FIXME|XXX|HACK)\b/ && $f ne 'tools/lint.sh';
    }
    next unless $f =~ /\.[ch]$/;
    # Comments and literals away, line numbers kept.
    my $code = $text;
    $code =~ s{("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|(/\*.*?\*/|//[^\n]*)}{ my $c = defined $2 ? $2 : ''; defined $1 ? '""' : ("\n" x ($c =~ tr/\n//)) }gse;
    my $lib = $f =~ m,^src/, && $f ne 'src/cmd/main.c';
    $n = 0;
    for my $l (split(/\n/, $code)) {
        $n++;
        say_bad($f, $n, "$1() is banned") if $l =~ $banned;
        say_bad($f, $n, "$1() in the library") if $lib && $l =~ $ending;
        say_bad($f, $n, "$1() of libm; use base/mathx.h") if $f =~ m,^(src|include|examples)/, && $l =~ $libm;
        say_bad($f, $n, "$1() outside src/base") if $lib && $f !~ m,^src/base/, && $l =~ $files_io;
        say_bad($f, $n, "$1() outside src/base; use tn_$1 or an arena") if $lib && $f !~ m,^src/(base|lib)/, && $l =~ $heap;
    }
}
print "lint: $checked files, $bad offences\n";
exit($bad ? 1 : 0);
PERL
