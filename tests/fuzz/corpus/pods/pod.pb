2

nns*u1
webRn1B
webBx://y