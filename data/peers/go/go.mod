module fcgi-lab-peer

go 1.18
